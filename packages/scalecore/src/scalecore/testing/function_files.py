"""A model plugin and a training function in a few lines of numpy, for tests of the trainer `function`."""

MODEL = '''
from scalecore import hookimpl
from scalecore.api.components import ModelRecord
from scalecore.api.space import ArchitectureSpace


class Flat:
    """One weight for each of the first `inputs` numbers of a window, and a bias."""

    def hyperparameters(self):
        return ()

    def architecture_space(self, data):
        widths = (1, 2, 4)
        return ArchitectureSpace(dimensions={"inputs": widths}, architectures=tuple({"inputs": one} for one in widths))

    def num_parameters(self, architecture, data):
        return architecture["inputs"] + 1

    def flops(self, architecture, data):
        return 2 * architecture["inputs"]

    def build(self, architecture, hyperparameters, data):
        import numpy as np

        return np.random.normal(0, 0.1, architecture["inputs"] + 1)


@hookimpl
def scalecore_models():
    return [ModelRecord(name="flat", summary="Logistic regression.", factory=lambda options: Flat())]
'''

TRAIN = """
def train(trial):
    import numpy as np

    weights, rate = trial.build(), trial.hyperparameters["learning_rate"]
    trial.verify_size(weights.size)
    if trial.resume is not None:
        weights = np.frombuffer(trial.resume.read_bytes()).copy()
    trial.save_with(lambda path: path.write_bytes(weights.tobytes()))

    def rows(part):
        x, y = trial.data(part)
        x = x.reshape(len(x), -1)[:, : trial.architecture["inputs"]].astype(float)
        return np.column_stack([x, np.ones(len(x))]), y

    (x, y), (val_x, _) = rows("train"), rows("val")
    for epoch in range(trial.epoch, trial.hyperparameters["epochs"]):
        trial.step()
        chance = 1 / (1 + np.exp(-(x @ weights)))
        weights -= rate * x.T @ (chance - y) / len(y)
        yield {"train_loss": float(np.mean((chance - y) ** 2)), "outputs": val_x @ weights}
"""
