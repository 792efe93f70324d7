"""Fine-tuning the demo model to four times its length."""
