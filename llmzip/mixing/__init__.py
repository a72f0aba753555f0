"""What the coded tokens teach: a mixer shared by all streams of a block, which corrects the model's predictions."""
