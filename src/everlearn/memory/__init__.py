"""The look-up table: keys, index, gate, corrections, the hook into a block, recall."""
