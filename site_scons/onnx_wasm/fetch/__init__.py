"""Brings models here from where manifests say they are. What comes in is untrusted until its hash is right."""
