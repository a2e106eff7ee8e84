"""Train with Lightning: the model family's module in a `LightningModule`, its epochs reported by a callback."""


def train(trial):
    """Report the validation logits of each epoch."""
    import logging

    import lightning
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.set_num_threads(trial.threads)
    lightning.seed_everything(trial.seed % 2**32, verbose=False)
    rate, epochs = trial.hyperparameters["learning_rate"], trial.hyperparameters["epochs"]
    (x, y), (val_x, _) = (map(torch.from_numpy, trial.data(part)) for part in ("train", "val"))

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = trial.build()

        def training_step(self, batch):
            x_BTF, y_B = batch
            loss = nn.functional.binary_cross_entropy_with_logits(self.model(x_BTF)[:, 0], y_B)
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=rate)

    class Report(lightning.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            trial.step()  # here the study may pause or stop the trial

        def on_train_epoch_end(self, trainer, module):
            module.eval()
            with torch.no_grad():
                outputs = module.model(val_x.to(module.device))
            module.train()
            # Does not return where the study stops the trial, or early stopping ends it.
            trial.report({"train_loss": trainer.callback_metrics["train_loss"], "outputs": outputs})

    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[trial.device],
        devices=1,
        callbacks=[Report()],
        logger=False,  # the study logs
        enable_checkpointing=False,  # and says when a checkpoint is due
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=trial.folder,
    )
    trial.save_with(trainer.save_checkpoint)
    shuffled = DataLoader(TensorDataset(x, y.float()), batch_size=64, shuffle=True)
    trainer.fit(Classifier(), shuffled, ckpt_path=trial.resume)
