"""The HTTP face: routes, authentication, and what becomes of a refusal.

`http` has the nouns (request, response, route), `problems` the one table from a refusal's code to its status and
type, `edge` puts routes behind any ASGI server, `public` and `admin` are the two sets of routes.
"""
