"""Records as text, tables, pictures and a page; nothing is computed here."""
