"""Safety: what is found at write time in a lesson that would hijack questions or carry hidden instructions."""
