"""Evaluations: metrics of models and codecs on texts, their results as JSON, tables, pictures and a
report.
"""
