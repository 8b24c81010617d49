"""The Arrow schemas of what is kept, and how tables of them become the bytes of files."""
