"""What a person is asked in a review, and the answer by which a text may reach others."""

RELEASE_EXAMPLE = "release_example"  # may this example stand in a prompt?
LABEL_INTERACTION = "label_interaction"  # what should this answer have been?
RATE_ANSWER = "rate_answer"  # how good is this one, which was drawn at random?
RELEASE = "release"
