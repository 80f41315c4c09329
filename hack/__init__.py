"""Programs that keep the house: environment, image. Run from the root of the tree."""
