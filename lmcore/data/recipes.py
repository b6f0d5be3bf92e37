"""How the derived files are made from what their authors publish."""
