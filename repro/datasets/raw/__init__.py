"""Raw data: folders and archives, id lists, pairs of images and labels."""
