"""What a person sees: the page and the terminal, both from one view of ``/status``."""
