"""A perceptron on the breast-cancer data, with a compiled step and the loop written out.

usage: python examples/train_perceptron.py
"""

import numpy as np

import microtrain as mt
from microtrain import data, nn, optim

EPOCHS = 30


def main():
    table = data.load("breast_cancer")
    x_train, x_test, y_train, y_test = data.train_test_split(
        table.features, table.target, test_fraction=0.2, seed=0, stratify=table.target
    )
    x_train, x_test = data.standardise(x_train, x_test)

    mt.manual_seed(0)
    train = data.TensorDataset(
        mt.tensor(x_train.astype(np.float32)), mt.tensor(y_train.astype(np.float32)).unsqueeze(1)
    )
    loader = data.DataLoader(train, batch_size=32, shuffle=True, generator=0)
    model = nn.Linear(len(table.feature_names), 1)
    optimizer = optim.SGD(model.parameters(), lr=0.005, momentum=0.9)

    @mt.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for x, y in loader:
            total += step(x, y).item() * len(x)
        if epoch % 10 == 0:
            print(f"epoch {epoch:2}  loss {total / len(train):.4f}")

    with mt.no_grad():
        logit = model(mt.tensor(x_test.astype(np.float32))).cpu().numpy()[:, 0]
    accuracy = ((logit > 0) == (y_test == 1)).mean()
    print(f"held-out accuracy {accuracy:.4f} on {len(y_test)} patients")


if __name__ == "__main__":
    main()
