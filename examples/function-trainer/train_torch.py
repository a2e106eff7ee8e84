"""A training loop in plain PyTorch: two parameter groups with their own learning rates, and noise on the inputs."""


def train(trial):
    """Yield the validation logits of each epoch."""
    import torch
    from torch import nn

    torch.set_num_threads(trial.threads)
    torch.manual_seed(trial.seed)
    read = trial.hyperparameters
    (x, y), (val_x, _) = trial.data("train"), trial.data("val")
    x, y, val_x = torch.from_numpy(x), torch.from_numpy(y).float(), torch.from_numpy(val_x)
    model = trial.build().to(trial.device)
    weights = [one for one in model.parameters() if one.dim() > 1]
    others = [one for one in model.parameters() if one.dim() <= 1]
    rate, noise = read["learning_rate"], read["noise"]
    optimizer = torch.optim.AdamW([{"params": weights}, {"params": others, "lr": 10 * rate}], lr=rate)

    if trial.resume is not None:
        state = torch.load(trial.resume, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])

    def save(path):
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | {"random": torch.get_rng_state()}, path)

    trial.save_with(save)
    for _ in range(trial.epoch, read["epochs"]):
        model.train()
        total = 0.0
        for batch in torch.randperm(len(x)).split(64):
            trial.step()  # here the study may pause or stop the trial
            noisy = x[batch] + noise * torch.randn_like(x[batch])
            logits = model(noisy.to(trial.device))[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(logits, y[batch].to(trial.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        model.eval()
        with torch.no_grad():
            yield {"train_loss": total / len(x), "outputs": model(val_x.to(trial.device))}
