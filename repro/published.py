"""Published numbers, and where each stands. Layers, channels, neurons and tokens count from 0, as in the program.

A fact's name is what a script calls it; what is about a text has the settings in its name. Numbers that were read off a
figure are marked so: they are good to about one part in fifty.
"""
import re

PAPER = "arXiv 2502.06415"
FIGURE = PAPER + ", read off the figure"
CODE = PAPER + ", lib/model_dict.py of its code"
SCRIPTS = PAPER + ", typed into the scripts of its code"
TABLE1 = PAPER + ", Table 1"
REFINED = "arXiv 2503.22329, result files of its repository"
SUPER = "arXiv 2411.07191"


class Model:
    """What the papers say of one checkpoint. `names` finds it by what a user calls it, `shape` (layers, width, MLP width) tells
    it from another of the same name."""
    def __init__(self, title, hub, names, shape, facts):
        self.title, self.hub, self.names, self.shape, self.facts = title, hub, re.compile(names), shape, facts

    def fact(self, name):
        """(value, source), or (None, "")."""
        return self.facts.get(name, (None, ""))


def existence(layer, source=CODE, **more):
    return {"existence.layer": (layer, source)} | {f"existence.{name}": (value, source) for name, value in more.items()}


def massive(bos, values):
    """The largest abs value of each layer's output, mean over 10 sequences of RedPajama, in bfloat16."""
    return {f"massive.{bos}.{layer}": (value, REFINED) for layer, value in values.items()}


def perplexities(bos, context, layer, plain, zero, mean):
    """Each of WikiText-2, C4, PG-19; `layer` is where massive activations are reset."""
    facts = {f"reset.{bos}.layer": (layer, REFINED), f"reset.{bos}.context": (context, REFINED)}
    for name, values in (("plain", plain), ("zero", zero), ("mean", mean)):
        for text, value in zip(("wikitext", "c4", "pg19"), values):
            facts[f"reset.{bos}.{text}.{name}"] = (value, REFINED)
    return facts


def super_weights(*places):
    return {"super_weights": ([list(place) for place in places], SUPER)}


LONG, SHORT = 4096, 1024  # tokens of a window in 2503.22329; the short ones for GPT-2

MODELS = {
    "llama-2-7b": Model("Llama-2 7B", "meta-llama/Llama-2-7b-hf", r"llama-?2-7b(?!.*(chat|instruct))", (32, 4096, 11008), {
        **existence(1, neuron=7890, channels=[1415, 2533], tokens=[0, 3], column=7890),
        "down.layer": (1, FIGURE), "down.value": (1460, FIGURE), "down.neuron": (7890, CODE),
        "down.late_layer": (30, FIGURE), "down.late_neurons": ([3721, 7006], CODE),
        "out.first": (1, FIGURE), "out.last": (29, FIGURE), "out.top1": (2400, FIGURE), "out.top2": (1400, FIGURE),
        "out.top3": (770, FIGURE), "out.median": (0.2, FIGURE), "out.channels": ([1415, 2533], FIGURE),
        "out.initial": (0.5, FIGURE), "out.strong_delimiter": (0.405, FIGURE), "out.weak_word": (0.095, FIGURE),
        "weights.layer": (1, FIGURE), "weights.score": (1170, FIGURE), "weights.column": (7890, CODE),
        "weights.late.30": (565, FIGURE), "weights.late.31": (585, FIGURE),
        "weights.column.30": (7006, SCRIPTS), "weights.column.31": (3228, SCRIPTS),
        "attention.layer": (2, FIGURE), "attention.score": (520, FIGURE), "attention.share": (0.87, FIGURE),
        "attention.keys_layer": (3, SCRIPTS),
        "attention.initial": (0.5, FIGURE), "attention.strong_delimiter": (0.405, FIGURE), "attention.weak_word": (0.095, FIGURE),
        "life.born": (1, SCRIPTS), "life.neuron": (7890, SCRIPTS), "life.channels": ([1415, 2533], SCRIPTS),
        "life.spread": (27, SCRIPTS), "life.head": (1, SCRIPTS),
        "life.removed": (30, SCRIPTS), "life.removers": ([3721, 7006], SCRIPTS),
        "alignment.weights": (1.0, TABLE1), "alignment.attention": (0.95, TABLE1),
        **super_weights((1, 2533, 7890)),
        "perplexity.wikitext.2048": (5.47, "arXiv 2306.00978 (AWQ), FP16 row of its table of perplexities"),
        **massive("never", {1: 2496, 2: 2496, 3: 2496, **{layer: 2512 for layer in range(4, 29)}, 29: 2464}),
        **perplexities("never", LONG, 1, (5.121, 7.623, 8.081), (8115, 8626, 5746), (5.128, 7.630, 8.087)),
        **perplexities("every", LONG, 1, (5.133, 7.646, 8.106), (8977, 9774, 6726), (5.137, 7.658, 8.110)),
    }),
    "llama-2-13b": Model("Llama-2 13B", "meta-llama/Llama-2-13b-hf", r"llama-?2-13b(?!.*(chat|instruct))", (40, 5120, 13824), {
        **existence(3, neuron=8811, channels=[2100, 4743], tokens=[0], column=8811),
    }),
    "llama-3-8b": Model("Llama-3 8B", "meta-llama/Meta-Llama-3-8B", r"llama-?3-8b(?!.*(chat|instruct))", (32, 4096, 14336), {
        **existence(1, neuron=2427, channels=[788, 1384, 4062], tokens=[0], column=12638),
        "existence.value": (300, FIGURE),
        **super_weights(*[(1, row, 2427) for row in (788, 1384, 4062)]),
    }),
    "llama-3.2-1b": Model("Llama-3.2 1B", "meta-llama/Llama-3.2-1B", r"llama-?3\.2-1b(?!.*(chat|instruct))", (16, 2048, 8192), {
        "massive.every.channels": ([400, 698, 1159, 2029], REFINED),
        **massive("every", {layer: 217 for layer in range(1, 14)}),
        **perplexities("every", LONG, 1, (9.078, 14.633, 14.929), (6249, 3875, 2789), (9.078, 14.633, 14.929)),
        **perplexities("never", LONG, 1, (9.071, 14.562, 14.884), (7365, 5669, 3866), (9.089, 14.781, 15.023)),
    }),
    "llama-3.2-3b": Model("Llama-3.2 3B", "meta-llama/Llama-3.2-3B", r"llama-?3\.2-3b(?!.*(chat|instruct))", (28, 3072, 8192), {
        **perplexities("every", LONG, None, (7.263, 11.878, 11.973), (18441, 17799, 11442), (7.263, 11.878, 11.973)),
    }),
    "mistral-7b-v0.1": Model("Mistral 7B v0.1", "mistralai/Mistral-7B-v0.1", r"mistral-7b-v0\.1", (32, 4096, 14336), {
        **existence(1, neuron=7310, channels=[2070], tokens=[4, 9], column=7310),
        "existence.value": (320, FIGURE),
        **super_weights((1, 2070, 7310)),
    }),
    "mistral-7b-v0.3": Model("Mistral 7B v0.3", "mistralai/Mistral-7B-v0.3", r"mistral-7b-v0\.3", (32, 4096, 14336), {
        **perplexities("every", LONG, 1, (4.986, 8.477, 8.467), (2.623e7, 3.741e7, 2.923e7), (4.985, 8.477, 8.466)),
        **perplexities("never", LONG, 1, (5.001, 8.449, 8.433), (1.802e6, 2.059e6, 1.588e6), (4.981, 8.474, 8.459)),
    }),
    "mixtral-8x7b": Model("Mixtral 8x7B v0.1", "mistralai/Mixtral-8x7B-v0.1", r"mixtral-8x7b-v0\.1", (32, 4096, 14336), {
        **existence(1, channels=[2070, 3398], tokens=[3, 8]),
    }),
    "opt-6.7b": Model("OPT 6.7B", "facebook/opt-6.7b", r"opt-6\.7b", (32, 4096, 16384), {
        **existence(0, channels=[2394], tokens=[0], column=16351),
    }),
    "phi-2": Model("Phi-2", "microsoft/phi-2", r"phi-2", (32, 2560, 10240), {
        **existence(1, tokens=[1, 8], column=617),
    }),
    "falcon-7b": Model("Falcon 7B", "tiiuae/falcon-7b", r"falcon-7b(?!.*instruct)", (32, 4544, 18176), {
        **existence(3, tokens=[0], column=1135),
    }),
    "mpt-7b": Model("MPT 7B", "mosaicml/mpt-7b", r"mpt-7b(?!.*(chat|instruct|story))", (32, 4096, 16384), {
        **existence(3, tokens=[0], column=903),
    }),
    "gpt2": Model("GPT-2 124M", "openai-community/gpt2", r"gpt-?2(-small|-124m)?(?![-.\w]*(medium|large|xl))", (12, 768, 3072), {
        "massive.never.channels": ([447], REFINED),
        **massive("never", {2: 2480, 3: 2656, 4: 2800, 5: 2896, 6: 2960, 7: 2992, 8: 3008, 9: 3024}),
        **perplexities("never", SHORT, 2, (30.219, 37.326, 53.283), (30.214, 37.314, 53.292), (30.214, 37.308, 53.283)),
        **perplexities("every", SHORT, 2, (30.424, 37.607, 53.718), (30.574, 37.713, 53.853), (30.424, 37.607, 53.718)),
    }),
    "gemma-3-1b": Model("Gemma 3 1B", "google/gemma-3-1b-pt", r"gemma-?3-1b-pt", (26, 1152, 6912), {
        **massive("every", dict(enumerate((2592, 3024, 5248, 11328, 18816, 22784, 29952, 40960, 44288, 54528, 63232, 71680, 75264,
                                           77312, 81408, 83456, 86528, 92672, 95232, 93696)))),
        **perplexities("every", LONG, 0, (9.791, 15.482, 16.558), (10.206, 16.067, 17.270), (9.792, 15.483, 16.559)),
    }),
    "olmo-1b-0724": Model("OLMo 1B 0724", "allenai/OLMo-1B-0724-hf", r"olmo-1b-0724", (16, 2048, 8192), {
        **super_weights((1, 1764, 1710)),
    }),
}


def recognise(name):
    """The key of the model that a path, a name on the Hub or a key names, or None: of several the longest match."""
    text = re.sub(r"[_ ]+", "-", str(name).lower()).replace("meta-llama-3", "llama-3")
    found = [(match.end() - match.start(), key) for key, model in MODELS.items() if (match := model.names.search(text))]
    return text if text in MODELS else max(found)[1] if found else None
