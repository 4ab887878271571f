"""WeChat official accounts (公众号, 服务号): passive replies for all, customer-service messages for verified ones."""
