"""``status --group``: a whole group, from Kafka alone, when nobody runs, too."""
