"""Train a classifier of scikit-learn, one `partial_fit` an epoch.

scikit-learn is imported inside: `scalecore check` and the driver of a study import this file too.
"""


def train(trial):
    """Yield the validation logits of each epoch."""
    import joblib
    import numpy as np

    (x, y), (val_x, _) = trial.data("train"), trial.data("val")
    x, val_x = x.reshape(len(x), -1), val_x.reshape(len(val_x), -1)
    if trial.resume is None:
        model = trial.build()
        model.set_params(
            learning_rate_init=trial.hyperparameters["learning_rate"],
            random_state=np.random.RandomState(trial.seed % 2**32),
        )
    else:
        model = joblib.load(trial.resume)
    trial.save_with(lambda path: joblib.dump(model, path))

    for _ in range(trial.epoch, trial.hyperparameters["epochs"]):
        model.partial_fit(x, y, classes=[0, 1])
        trial.verify_size(sum(one.size for one in (*model.coefs_, *model.intercepts_)))
        chance = np.clip(model.predict_proba(val_x)[:, 1], 1e-7, 1 - 1e-7)
        yield {"train_loss": model.loss_, "outputs": np.log(chance / (1 - chance))}
