"""The pure core: takes inputs, returns effects; no clock, thread, queue, socket, log or metric in it."""
