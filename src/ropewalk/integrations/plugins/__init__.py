"""Methods of Ropewalk inside serving engines, by their own entry points."""
