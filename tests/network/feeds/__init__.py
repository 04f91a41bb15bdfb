"""What the network says beside calls, over real sockets."""
