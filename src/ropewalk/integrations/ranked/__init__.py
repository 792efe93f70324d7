"""One sequence over several ranks, through the hook: heads for tokens at each attention layer."""
