"""Context mixing: predictions corrected online by what all streams of a block have coded."""
