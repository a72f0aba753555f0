"""The text on which `mending` compares models: prose, code and records, which every installation
has. Another text could choose other features, and so other fingerprints: it is part of what a
source converts to.
"""

SAMPLE = """\
The harbour of Lindow lies at the mouth of a slow river, and for two hundred years nothing much has
happened there. In 1931 a dredger sank beside the north pier; in 1968 the railway closed. When Dr
Amelia Hart came to measure the tides, she rented a room above the bakery, wrote down the height of
the water every six minutes, and found what the fishermen had always said: the second high tide of
the day comes later than the tables allow, by about seventeen minutes. "It's the sandbank," they
told her. "It moves, and the sea goes round it."

def mean_delay(observed, predicted):
    \"\"\"Average lateness in minutes.\"\"\"
    pairs = [(a, b) for a, b in zip(observed, predicted) if b is not None]
    if not pairs:
        raise ValueError("no predictions to compare with")
    return sum(a - b for a, b in pairs) / len(pairs) / 60

{"station": "lindow-north", "time": "1974-05-02T04:12:00Z", "height_m": 3.84, "valid": true}
{"station": "lindow-north", "time": "1974-05-02T04:18:00Z", "height_m": 3.79, "valid": true}

Am Nachmittag kam Nebel auf, und die Messung wurde unterbrochen. See section 2.1 (p. 47) for units.
"""
