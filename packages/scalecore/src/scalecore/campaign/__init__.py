"""Campaigns: several studies from one experiment file."""
