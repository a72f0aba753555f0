"""What the coded tokens teach: a memory shared by all streams of a block, which corrects the model's predictions."""
