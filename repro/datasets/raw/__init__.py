"""The owner's files: folders and archives, id lists, images matched with labels."""
