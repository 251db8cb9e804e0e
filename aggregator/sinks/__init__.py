"""Where reports go. Every sink is idempotent by the report's key: writing a micro-batch twice is writing it once."""
