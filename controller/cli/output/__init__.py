"""The forms in which `matrix` and `diff` are printed: values in, text out; nothing is read or decided."""
