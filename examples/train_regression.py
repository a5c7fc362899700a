"""A linear regression on the diabetes data with `fit`, against the closed form.

usage: python examples/train_regression.py
"""

import numpy as np

import microtrain as mt
from microtrain import data, nn, optim
from microtrain.train import fit, predict
from microtrain.train.metrics import r2_score


def tensors(x, y):
    return data.TensorDataset(mt.tensor(x.astype(np.float32)), mt.tensor(y.astype(np.float32)).unsqueeze(1))


def main():
    table = data.load("diabetes")
    x_train, x_test, y_train, y_test = data.train_test_split(table.features, table.target, seed=0)
    x_train, x_test = data.standardise(x_train, x_test)
    scale = data.Standardiser.fit(y_train)
    train, test = tensors(x_train, scale.transform(y_train)), tensors(x_test, scale.transform(y_test))

    mt.manual_seed(0)
    model = nn.Linear(x_train.shape[1], 1)
    history = fit(
        model,
        nn.MSELoss(),
        optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
        data.DataLoader(train, batch_size=128, shuffle=True, generator=0),
        data.DataLoader(test, batch_size=len(test)),
        epochs=100,
        metrics={"R²": r2_score},
        progress=False,
    )
    print(f"loss {history.train_loss[0]:.3f} in the first epoch, {history.train_loss[-1]:.3f} in the last")
    print(f"steps: {history.steps}")
    prediction = scale.inverse(predict(model, test.tensors[0])[:, 0].astype(np.float64))
    print(f"held-out R² {r2_score(prediction, y_test):.4f}")
    a_train, a_test = (np.c_[x, np.ones(len(x))] for x in (x_train, x_test))
    closed_form = a_test @ np.linalg.lstsq(a_train, y_train)[0]
    print(f"closed form R² {r2_score(closed_form, y_test):.4f}")


if __name__ == "__main__":
    main()
