"""How every committed result was made: `python -m recipes.NAME.run`, then `.page`."""
