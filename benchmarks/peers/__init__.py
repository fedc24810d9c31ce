"""What the look-up table is compared with: other ways to put facts into the same base model, under the same scoring."""
