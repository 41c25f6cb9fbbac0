/* Monthly cohorts: who came back, how much they spent, and how that compares with the cohort before. */
WITH first_order AS (
    SELECT customer_id,
           MIN(ordered_at) AS first_at,
           DATE_TRUNC('month', MIN(ordered_at)) AS cohort
    FROM orders
    WHERE status <> 'cancelled'
    GROUP BY customer_id
),
activity AS (
    SELECT f.cohort,
           o.customer_id,
           EXTRACT(YEAR FROM AGE(DATE_TRUNC('month', o.ordered_at), f.cohort)) * 12
               + EXTRACT(MONTH FROM AGE(DATE_TRUNC('month', o.ordered_at), f.cohort)) AS month_number,
           SUM(i.quantity * i.unit_price * (1 - COALESCE(i.discount, 0))) AS revenue
    FROM orders AS o
    JOIN first_order AS f ON f.customer_id = o.customer_id
    JOIN order_items AS i ON i.order_id = o.id
    WHERE o.ordered_at >= CURRENT_DATE - INTERVAL '18 months'
    GROUP BY 1, 2, 3
),
sizes AS (
    SELECT cohort, COUNT(*) AS customers
    FROM first_order
    GROUP BY cohort
)
SELECT a.cohort,
       a.month_number,
       s.customers,
       COUNT(DISTINCT a.customer_id) AS active,
       ROUND(100.0 * COUNT(DISTINCT a.customer_id) / s.customers, 1) AS percent_active,
       SUM(a.revenue) AS revenue,
       SUM(SUM(a.revenue)) OVER (PARTITION BY a.cohort ORDER BY a.month_number) AS revenue_so_far,
       LAG(COUNT(DISTINCT a.customer_id)) OVER (PARTITION BY a.month_number ORDER BY a.cohort) AS active_before,
       PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a.revenue) AS median_revenue
FROM activity AS a
JOIN sizes AS s ON s.cohort = a.cohort
WHERE a.month_number BETWEEN 0 AND 12
GROUP BY a.cohort, a.month_number, s.customers
HAVING COUNT(DISTINCT a.customer_id) > 4
ORDER BY a.cohort, a.month_number;

CREATE TABLE IF NOT EXISTS daily_stock (
    day DATE NOT NULL,
    sku VARCHAR(32) NOT NULL,
    warehouse VARCHAR(16) NOT NULL,
    quantity INT NOT NULL DEFAULT 0,
    value DECIMAL(12, 2),
    note TEXT,
    PRIMARY KEY (day, sku, warehouse)
);

INSERT INTO daily_stock (day, sku, warehouse, quantity, value)
SELECT CURRENT_DATE, m.sku, m.warehouse, SUM(m.quantity), SUM(m.quantity * a.price)
FROM movements AS m
LEFT JOIN articles AS a ON a.sku = m.sku
WHERE m.moved_at < CURRENT_DATE AND a.active
GROUP BY m.sku, m.warehouse
HAVING SUM(m.quantity) <> 0;

UPDATE articles
SET price = CASE
        WHEN category IN ('tea', 'coffee') THEN ROUND(price * 1.07, 2)
        WHEN category = 'ware' AND price > 50 THEN price - 5
        ELSE price
    END,
    updated_at = CURRENT_TIMESTAMP
WHERE active AND updated_at < CURRENT_DATE - INTERVAL '1 year';

SELECT sku, warehouse, quantity, rank
FROM (
    SELECT sku, warehouse, quantity, RANK() OVER (PARTITION BY warehouse ORDER BY quantity DESC) AS rank
    FROM daily_stock
    WHERE day = CURRENT_DATE
) AS ranked
WHERE rank <= 10
UNION ALL
SELECT sku, 'all', SUM(quantity), NULL
FROM daily_stock
WHERE day = CURRENT_DATE
GROUP BY sku
ORDER BY warehouse, rank
LIMIT 100;
