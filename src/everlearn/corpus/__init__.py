"""Files of lessons: reading and writing them as streams."""
