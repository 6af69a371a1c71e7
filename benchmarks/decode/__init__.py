"""Decoding beside a bare loop, and with drafts beside without."""
