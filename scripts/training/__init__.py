"""What the trainers do: pictures in, a Keras model out, and how good it is on pictures that it has not seen."""
