"""Reading what became of past calls: beside the writer, from what is durable, and never much at a time."""
