"""Train short, test long: one small decoder for each encoding, and how it reads beyond."""
