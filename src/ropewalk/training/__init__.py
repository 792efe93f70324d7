"""Small decoders trained from scratch: tokenizer, schedule, optimizer, resumable trainer."""
