"""Attempts: processes that train one trial each, and the code that starts and supervises them."""
