"""What a file would take with levels, models and codecs, forecast from a sample that is really
coded and decoded.
"""
