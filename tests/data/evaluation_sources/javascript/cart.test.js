const assert = require('node:assert/strict');
const { describe, it, beforeEach, mock } = require('node:test');

const { Cart, OutOfStockError } = require('../lib/cart');
const { Money } = require('../lib/money');

describe('Cart', () => {
  let cart;
  let stock;

  beforeEach(() => {
    stock = { available: mock.fn(async () => 10), reserve: mock.fn(async () => true) };
    cart = new Cart({ currency: 'EUR', stock });
  });

  it('starts empty', () => {
    assert.equal(cart.count, 0);
    assert.deepEqual(cart.total(), Money.of(0, 'EUR'));
  });

  it('adds up lines of the same article', async () => {
    await cart.add({ sku: 'tea-250', price: Money.of(4.95, 'EUR') }, 2);
    await cart.add({ sku: 'tea-250', price: Money.of(4.95, 'EUR') }, 1);
    assert.equal(cart.lines.length, 1);
    assert.equal(cart.count, 3);
    assert.equal(cart.total().format('de-DE'), '14,85\u00a0€');
  });

  it('refuses more than there is', async () => {
    stock.available.mock.mockImplementation(async () => 1);
    await assert.rejects(
      () => cart.add({ sku: 'pot-1', price: Money.of(39, 'EUR') }, 2),
      (error) => error instanceof OutOfStockError && /pot-1/.test(error.message),
    );
    assert.equal(stock.reserve.mock.callCount(), 0);
  });

  for (const [code, expected] of [['TEN', 18], ['FREESHIP', 20], ['', 20]]) {
    it(`applies the voucher ${JSON.stringify(code)}`, async () => {
      await cart.add({ sku: 'cup', price: Money.of(10, 'EUR') }, 2);
      cart.voucher = code;
      assert.equal(cart.total().amount, expected);
    });
  }
});
