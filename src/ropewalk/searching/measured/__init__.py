"""A search whose callable measures cells: objectives, documents, plans and results on disk."""
