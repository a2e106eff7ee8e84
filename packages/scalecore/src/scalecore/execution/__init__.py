"""Attempts: processes that train one trial each, and what starts and watches them."""
