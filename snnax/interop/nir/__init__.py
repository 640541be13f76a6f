"""NIR graphs: read and written as files, repaired, turned into Flax models and made from them."""
