"""The configuration file that `tallygate init` writes: every key there is, with what is optional commented out.

A line that begins with `#` and a letter or a bracket, without a space, is TOML that is commented out; a line that
begins with `# ` is prose. A test uncomments the former and reads the result, and another looks for every key.
"""

from typing import Final

TEMPLATE: Final = """\
# Tallygate's configuration. `tallygate check` tells whether it is right, with every problem at once.
# Names of files are relative to the folder of this file. Secrets are never written here: a key that ends in _env
# names an environment variable that holds one, a key that ends in _file a file that only its owner can read.

[server]
listen = "127.0.0.1:8080"     # where callers connect; port 0 takes any free one
#keep_alive_s = 15            # a streamed call that waits longer gets comments
#retry_percent = 20           # how many retries 100 calls pay for, and how many a second there are besides
#retries_per_s = 10
#calls_max = 5000              # how many calls may be under way at a time
#drain_s = 30                 # how long calls may go on when the gateway is told to stop
#left_drain_s = 30            # how long an answer is read on whose caller has left, if it is billed to its end anyway
#public_models = false        # true: /v1/models answers everybody, not only holders of an API key
#header_timeout_s = 10        # how long a caller may take to send the headers of a request
#body_timeout_s = 60          # and its body
#default_temperature = 0.7    # sent when a caller names none; "none" sends none
#unknown_parameters = "refuse" # or "pass", or "strip"; what can raise the cost of a call is always refused
#repair = false               # leave out what the network's own gateway leaves out, and tell the caller
#requests_per_minute_per_address = 6000   # how many requests one address may send, good keys or not
#failed_keys_per_minute_per_address = 600 # how many with a key that is none; good keys are served all the same
#failed_keys_per_second = 500             # how many such requests are answered in all; who tries more, waits
#trusted_proxies = ["10.0.0.0/8"]         # whose X-Forwarded-For is believed
#forwarded_header = "x-forwarded-for"     # or "forwarded"
#cors_origins = ["https://chat.example"]  # the web pages that may call from a browser; "*" for all
#log_level = "info"           # "debug", "info", "warning" or "error"

[admin]
listen = "127.0.0.1:8081"     # where you connect; keep it off the public network
key_env = "TALLYGATE_ADMIN_KEY"
#key_file = "secrets/admin.key"

# Figures for Prometheus: GET /metrics with the admin key, or with this one, which opens nothing else.
[metrics]
#listener = "admin"           # "public": on the callers' port; "off": nowhere
#key_env = "METRICS_KEY"
#key_file = "secrets/metrics.key"

[store]
url = "sqlite:data/tallygate.db"
#pepper_file = "data/tallygate.pepper"   # made at the first start; keep a copy: without it no API key works
#checkpoint_key_file = "data/tallygate.checkpoint-key"   # signs what the books say; made at the first start
#anchors_file = "data/anchors.jsonl"      # the signed checkpoints; best on another disk
#hold_durability = "wait"     # "async": sooner sent, less safe when the machine crashes
#after_crash = "void"         # "charge_prompt": calls that a crash cut off are charged for their prompt

[keys]
#prefix = "tg-"               # how the keys of callers begin; keys of an earlier prefix go on
#calls_under_way = "finish"    # "cut": calls end when their key is revoked, paused or expires, or its account suspended

[billing]
fee_ppm = 100000              # the platform fee: 10 %, in millionths of the base cost
#insufficient_balance_status = 402
#short_balance = "refuse"      # "shrink": a call that names no max_tokens gets what the account can pay for

# What an API key, and an account with all of its keys together, may do where nothing is said of it; "off": no limit.
# All six kinds can be set for both: docs/configuration.md
[limits]
#key = {requests_per_minute = 1000000, tokens_per_minute = "off", concurrent_requests = "off"}
#account = {spend_day_usd = "off", spend_month_usd = "off", spend_total_usd = "off"}

# What you are told of accounts, in the log and by webhook: docs/events.md
[events]
#low_balance_usd = "1"        # tell when a balance falls below this
#webhook_url = "https://example.com/tallygate-events"
#webhook_secret_env = "WEBHOOK_SECRET"   # whsec_ and base64
#webhook_secret_file = "secrets/webhook.key"
#webhook_timeout_s = 10

# Where prices come from: those in [models] and of `tallygate prices set` are yours; the network may price the others.
[prices]
#source = "configuration"     # "network": models without a price here are priced by what upstreams ask; docs/operate.md
#models = "configured"        # "listed": so is every model that upstreams list
#markup_ppm = 0               # what you add to it, in millionths, before the platform fee
#interval_s = 300
#stale_s = 3600               # for how long the last good answer of an upstream counts
#usd_per_1m_min = "0.000001"  # what a price must be to be believed
#usd_per_1m_max = "100"
#usd_per_call_max = "1"
#change_ppm_max = 500000      # how far a price may move at a time
#change_ppm_min = 10000       # what moves by less stays

# What a GNK is worth, for prices in ngonka: fixed, usd = "0.62", or in its place a source that is read.
[gnk]
#url = "https://prices.example/simple?ids=gonka&vs_currencies=usd"
#pointer = "/gonka/usd"       # where in the JSON the dollars are
#time_pointer = "/gonka/at"   # and since when that holds
#usd_min = "0.1"              # what a rate must be to be believed
#usd_max = "5"
#change_ppm_max = 200000
#interval_s = 300
#stale_s = 3600

# When you are told that a wallet, or an escrow of devshardctl, runs low: 1 GNK is 1000000000 ngonka.
[wallets]
#interval_s = 60
#low_ngonka = 1000000000
#escrow_low_ngonka = 500000000

# The ways to the network; those of the lowest priority are tried first.
# Today's mainnet is reached by Bearer key. OpenBroker is one way; docs/configuration.md shows others.
[[upstreams]]
name = "openbroker"
kind = "openai"
program = "openbroker"        # "devshardctl": the network's own gateway program; "other": anything else
base_url = "https://api.openbroker.gonka.gg/v1"
api_key_env = "OPENBROKER_API_KEY"
#api_key_file = "secrets/openbroker.key"
#models = {"MiniMaxAI/MiniMax-M2.7" = "MiniMaxAI/MiniMax-M2.7"}   # "*": all, as named
#priority = 0
#weight = 1                   # its share among upstreams of the same priority
#routes = {"MiniMaxAI/MiniMax-M2.7" = {priority = 0, weight = 1}}   # other ranks for some models
#bills_to_end = true          # whether it bills to the end when the caller has left
#flatten_content = false      # whether text parts are sent to it as one string
#tells_prices = true          # whether it is asked what models cost, where [prices] says so
#max_tokens_floor = 1         # never ask it for fewer tokens
#ca_file = "certificates.pem" # in place of the system's certificates
#timeouts = {connect_s = 5, first_byte_s = 300, idle_s = 120, total_s = 1800}
# What it bills you, for the margin: in ngonka per token and attempt, or in dollars per million tokens.
#cost = {unit = "ngonka", input = 1, output = 1, per_attempt = 1000}
#[[upstreams]]
#name = "another-broker"
#kind = "openai"
#base_url = "https://broker.example/v1"
#api_key_env = "BROKER_API_KEY"
#priority = 1
#cost = {unit = "usd", input = "0.001", output = "0.001", per_attempt = 0, usd_per_gnk = "0.62"}

# Nodes of a private network or a test network, which take signed requests.
#[[upstreams]]
#name = "private-network"
#kind = "gonka"
#wallets = [{key_env = "WALLET_KEY"}, {key_file = "secrets/wallet.key"}]
#wallets = [{keystore_file = "secrets/wallet.age", passphrase_env = "WALLET_PASSPHRASE"}]   # or encrypted
#scheme = "hash"              # "raw" for nodes up to 0.2.5, "auto" to find out
#nodes = [{url = "http://node1.example:8000", address = "gonka186gp7g350a5zp9mvag3xr8jfmhahejwlk9fmdx"}]
# Or have them discovered:
#[[upstreams]]
#name = "discovered"
#kind = "gonka"
#wallets = [{key_env = "WALLET_KEY"}]
#discovery = {sources = ["http://node1.example:8000"], refresh_s = 300}

# The models that callers may ask for. Prices are in dollars; write them as texts, so that they are exact.
[models."MiniMaxAI/MiniMax-M2.7"]
#name = "MiniMax M2.7"       # what people call it
aliases = ["minimax-m2.7"]
#context_length = 131072      # prompt and answer together, where you know it
max_output_tokens = 4096
#default_max_tokens = 4096    # when a caller sets no limit; money for so many is set aside
#template_tokens = 64         # what the chat template adds to a prompt, at most
#tools_tokens = 512           # what it adds when tools are given, at most
features = ["tools", "json_mode", "structured_outputs", "thinking"]
#tokenizer_file = "tokenizer.json" # counts what an upstream does not tell; needs the extra `tokenizers`
input_usd_per_1m = "0.001"
output_usd_per_1m = "0.001"
#usd_per_call = "0.000001"
#[models."house/free-model"]
#free = true
"""
