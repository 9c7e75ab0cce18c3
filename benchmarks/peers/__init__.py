"""The other libraries, in an environment of their own: nothing here imports lens_personas."""
