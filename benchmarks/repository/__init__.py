"""What texts of other files are worth: holes at call sites of what other files define."""
