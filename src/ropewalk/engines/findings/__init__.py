"""What an audit looks for: one kind of finding a function, a pure look at a config and answers."""
