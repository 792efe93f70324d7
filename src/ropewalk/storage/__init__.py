"""Results on disk: whole files, folders of them, and the version of the code that made them."""
